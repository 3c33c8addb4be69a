/** The dialog that explains why a person is in a segment or not, rule by rule. */
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { data } from "../api/client";
import { explainSegment, listContacts, type SegmentDetail, type SegmentNodeVerdict } from "../api/generated";
import { personName, phone } from "../format";
import { t } from "../i18n";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { Badge, Failed, Loading } from "../ui/parts";
import { Search } from "../ui/search";
import type { Known } from "./segments";
import { ruleText, valueText } from "./segment-tree";

type Props = { segment: SegmentDetail; known: Known; person: string | null; onClose: () => void };

export function WhyDialog({ segment, known, person, onClose }: Props) {
  const [chosen, setChosen] = useState(person);
  return (
    <Dialog title={t("Why in {name}, or not", { name: segment.name })} onClose={onClose} wide>
      {!person && <FindPerson onChoose={setChosen} />}
      {chosen && <Verdict segment={segment} known={known} contact={chosen} />}
    </Dialog>
  );
}

function FindPerson({ onChoose }: { onChoose: (id: string) => void }) {
  const [text, setText] = useState("");
  const found = useQuery({
    queryKey: ["contacts", "find", text],
    enabled: text.length > 1,
    queryFn: ({ signal }) => data(listContacts({ query: { q: text, limit: 6 }, signal, throwOnError: true })),
  });
  return (
    <>
      <Search label={t("Name, number, e-mail or company")} value={text} onChange={setText} />
      {found.isLoadingError && <Failed error={found.error} again={() => void found.refetch()} />}
      {found.data && (
        <ul className="segment-sample">
          {found.data.data.map((one) => (
            <li key={one.id}>
              <button type="button" className="link" onClick={() => onChoose(one.id)}>{personName(one)}</button>
              <span className="faint number">{phone(one.phone)}</span>
            </li>
          ))}
          {!found.data.data.length && <li className="faint">{t("No contact matches")}</li>}
        </ul>
      )}
    </>
  );
}

function Verdict({ segment, known, contact }: { segment: SegmentDetail; known: Known; contact: string }) {
  const found = useQuery({
    queryKey: ["segment-why", segment.id, segment.updated_at, contact],
    queryFn: () => data(explainSegment({ path: { segment_id: segment.id, contact_id: contact }, throwOnError: true })),
  });
  if (found.isLoadingError) return <Failed error={found.error} again={() => void found.refetch()} />;
  if (!found.data) return <Loading lines={4} />;
  return (
    <>
      <p role="status">
        <Badge tone={found.data.is_in ? "good" : "neutral"}>{found.data.is_in ? t("In the segment") : t("Not in the segment")}</Badge>{" "}
        <Link to="/contacts/$id" params={{ id: contact }} className="link">{t("Open the contact")}</Link>
      </p>
      <ol className="verdicts">
        {found.data.nodes.map((node, at, all) => <NodeLine key={node.pointer} node={node} next={all[at + 1]} known={known} />)}
      </ol>
    </>
  );
}

/** One node of the segment's tree. `next` is the first node inside this node, if it is a group. */
function NodeLine({ node, next, known }: { node: SegmentNodeVerdict; next?: SegmentNodeVerdict; known: Known }) {
  const depth = node.pointer.split("/").filter((one) => ["all", "any", "not"].includes(one)).length;
  const isRule = node.node === "rule";
  const not = next?.node === "all" ? t("Not all of these") : t("None of these");
  const names: Record<string, string> = { all: t("All of these"), any: t("Any of these"), not };
  return (
    <li style={{ marginInlineStart: `${Math.min(depth, 6) * 18}px` }} className={node.holds ? "verdict-yes" : "verdict-no"}>
      <Icon name={node.holds ? "check" : "close"} size={13} />
      <span className="hidden">{node.holds ? t("True:") : t("Not true:")}</span>
      <span>
        {isRule ? ruleText({ field: node.field ?? "", op: node.op ?? "", value: node.value }, known.fields, known) : names[node.node]}
        {isRule && <span className="faint"> · {t("has {value}", { value: valueText(node.field ?? "", node.actual, known) })}</span>}
      </span>
    </li>
  );
}
