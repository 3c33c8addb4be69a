/** Pictures and recordings of a message or a call. A link opens one file for ten minutes. */
import { useQuery } from "@tanstack/react-query";
import { data } from "../../api/client";
import { makeLink } from "../../api/generated";
import { t } from "../../i18n";

export type Media = { media_id?: string | null; status?: string; content_type?: string | null; error?: string | null };

const LINK_MS = 9 * 60_000;

export function MediaItem({ item }: { item: Media }) {
  const id = item.media_id ?? "";
  const link = useQuery({
    queryKey: ["media", id],
    queryFn: () => data(makeLink({ path: { media_id: id }, throwOnError: true })),
    enabled: !!id,
    staleTime: LINK_MS,
    refetchInterval: false,
  });
  if (item.status === "pending" || item.status === "failed") return <p className="faint">{t("The file is being fetched.")}</p>;
  if (!id) return <p className="faint">{item.error ?? t("The file could not be fetched.")}</p>;
  if (link.isLoadingError) return <p className="faint">{t("The file cannot be opened now.")}</p>;
  if (!link.data) return <span className="picture" aria-hidden="true" />;
  // The content security policy allows only files of the page's host. So use only the path.
  const { pathname, search } = new URL(link.data.url, location.href);
  const address = pathname + search;
  const kind = item.content_type?.split("/")[0];
  if (kind === "image") {
    return (
      <a href={address} target="_blank" rel="noreferrer" className="picture">
        <img src={address} alt={t("Picture of the message")} loading="lazy" />
      </a>
    );
  }
  if (kind === "audio") return <audio controls preload="none" src={address} />;
  if (kind === "video") return <video controls preload="none" src={address} className="picture" />;
  return <a href={address} className="link" target="_blank" rel="noreferrer">{t("Open the file")}</a>;
}
