/** Who did something: the name of a colleague, or what the API says, as "person" or the name of a key. */
import { useNameOf } from "../colleagues";

export function Actor({ who }: { who: string }) {
  return <>{useNameOf()(who)}</>;
}
