/** The name of who did something: the name of a user, or another name that the API returns. */
import { useNameOf } from "../colleagues";

export function Actor({ who }: { who: string }) {
  return <>{useNameOf()(who)}</>;
}
