/** Pictures of an answer. A picture is uploaded as soon as the user has chosen it. */
import { useMutation } from "@tanstack/react-query";
import { useRef } from "react";
import { data } from "../../api/client";
import { uploadMedia } from "../../api/generated";
import { t } from "../../i18n";
import { Icon } from "../../ui/icons";
import { fail } from "../../ui/toasts";

export type Upload = { id: string; name: string; url: string };
type Props = { uploads: Upload[]; onChange: (uploads: Upload[]) => void };

const MOST = 10;

export function Attach({ uploads, onChange }: Props) {
  const field = useRef<HTMLInputElement>(null);
  const upload = useMutation({
    mutationFn: async (files: File[]) => {
      const made: Upload[] = [];
      for (const file of files) {
        const { id } = await data(uploadMedia({ body: { file }, throwOnError: true }));
        made.push({ id, name: file.name, url: URL.createObjectURL(file) });
      }
      return made;
    },
    onSuccess: (made) => onChange([...uploads, ...made]),
    onError: fail,
  });
  return (
    <>
      <input
        ref={field}
        type="file"
        hidden
        multiple
        accept="image/jpeg,image/png,image/gif"
        aria-label={t("Pictures to send")}
        onChange={(event) => {
          const files = [...(event.target.files ?? [])].slice(0, MOST - uploads.length);
          event.target.value = "";
          if (files.length) upload.mutate(files);
        }}
      />
      <button type="button" className="icon-button" title={t("Add a picture")} aria-label={t("Add a picture")} aria-busy={upload.isPending} disabled={upload.isPending || uploads.length >= MOST} onClick={() => field.current?.click()}>
        <Icon name="picture" />
      </button>
    </>
  );
}

export function Attached({ uploads, onChange }: Props) {
  if (!uploads.length) return null;
  const remove = (gone: Upload) => {
    URL.revokeObjectURL(gone.url);
    onChange(uploads.filter((one) => one !== gone));
  };
  return (
    <ul className="attached">
      {uploads.map((one) => (
        <li key={one.id}>
          <img src={one.url} alt={one.name} />
          <button type="button" className="icon-button" aria-label={t("Remove {name}", { name: one.name })} onClick={() => remove(one)}><Icon name="close" size={12} /></button>
        </li>
      ))}
    </ul>
  );
}
