/** The button that reads the next page of a list. It is shown only while there is a next page. */
import { t } from "../i18n";
import { Button } from "./parts";

type Pages = { hasNextPage: boolean; isFetchingNextPage: boolean; fetchNextPage: () => Promise<unknown> };

export function More({ query }: { query: Pages }) {
  if (!query.hasNextPage) return null;
  return (
    <p className="more">
      <Button busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>{t("Show more")}</Button>
    </p>
  );
}
