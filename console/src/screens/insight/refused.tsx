/** The notice with the API's sentence about why it refused a form. */
import { sentenceOf } from "../../api/problem";

export function Refused({ error }: { error: unknown }) {
  if (error === null) return null;
  return <p className="notice notice-bad" role="alert">{sentenceOf(error)}</p>;
}
