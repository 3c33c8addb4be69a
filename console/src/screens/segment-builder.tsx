/** The editor for the rules of a segment. A group contains rules and other groups. */
import { ApiProblem } from "../api/problem";
import { t } from "../i18n";
import { Button } from "../ui/parts";
import { Icon } from "../ui/icons";
import { RuleEditor, type Choices } from "./segment-rule";
import { joinName, memberPointer, newGroup, newRule, type GroupNode, type Join, type Node } from "./segment-tree";

const JOINS: Join[] = ["all", "any", "none", "not_all"];
const DEEPEST = 10;

/** Return the API's error sentence for the rule at a JSON pointer. */
function faultAt(error: unknown, pointer: string): string | undefined {
  if (!(error instanceof ApiProblem)) return undefined;
  return Object.entries(error.fields).find(([at]) => at === pointer || at.startsWith(`${pointer}/`))?.[1];
}

type Props = {
  group: GroupNode;
  choices: Choices;
  error: unknown;
  onChange: (group: GroupNode) => void;
  onRemove?: () => void;
  pointer?: string;
  depth?: number;
};

export function GroupEditor({ group, choices, error, onChange, onRemove, pointer = "/filter", depth = 1 }: Props) {
  const put = (at: number, node: Node) => onChange({ ...group, members: group.members.with(at, node) });
  const drop = (at: number) => onChange({ ...group, members: group.members.toSpliced(at, 1) });
  const add = (node: Node) => onChange({ ...group, members: [...group.members, node] });
  return (
    <fieldset className={depth === 1 ? "rules rules-root" : "rules"}>
      <legend className="hidden">{depth === 1 ? t("Rules") : t("Group of rules")}</legend>
      <div className="rules-head">
        <select aria-label={t("How the rules combine")} value={group.join} onChange={(event) => onChange({ ...group, join: event.target.value as Join })}>
          {JOINS.map((one) => <option key={one} value={one}>{joinName(one)}</option>)}
        </select>
        <span className="faint">{t("must be true")}</span>
        {onRemove && (
          <button type="button" className="icon-button" aria-label={t("Remove the group")} onClick={onRemove}>
            <Icon name="close" size={13} />
          </button>
        )}
      </div>
      {group.members.map((node, at) => {
        const here = memberPointer(pointer, group.join, at);
        const remove = group.members.length > 1 || depth > 1 ? () => drop(at) : undefined;
        return node.kind === "rule" ? (
          <RuleEditor key={node.key} rule={node} choices={choices} error={faultAt(error, here)} onChange={(rule) => put(at, rule)} onRemove={remove} />
        ) : (
          <GroupEditor key={node.key} group={node} choices={choices} error={error} pointer={here} depth={depth + 1} onChange={(inner) => put(at, inner)} onRemove={() => drop(at)} />
        );
      })}
      {group.members.length === 0 && <p className="field-error">{t("Add a rule, or remove this group.")}</p>}
      <p className="rules-add">
        <Button kind="quiet" icon="plus" onClick={() => add(newRule())}>{t("Rule")}</Button>
        {depth < DEEPEST && <Button kind="quiet" icon="plus" onClick={() => add(newGroup(group.join === "any" ? "all" : "any"))}>{t("Group")}</Button>}
      </p>
    </fieldset>
  );
}
