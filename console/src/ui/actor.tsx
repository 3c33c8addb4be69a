/** Who did something: the name of a colleague, "person", or another name that the API returns. */
import { useNameOf } from "../colleagues";

export function Actor({ who }: { who: string }) {
  return <>{useNameOf()(who)}</>;
}
