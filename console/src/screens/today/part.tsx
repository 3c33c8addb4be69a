/** Shared code of the Today screen: one read for all parts, and changes that are shown at once. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { data } from "../../api/client";
import { getToday, type TodayRead } from "../../api/generated";
import { setServiceTime } from "../../clock";
import { currentZone } from "../../format";
import { Failed, Loading } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";

/** Read all parts in one call. A part is null if the user does not have its scope. */
export const useToday = () =>
  useQuery({
    queryKey: ["today"],
    queryFn: async () => {
      const today = await data(getToday({ query: { timezone: currentZone() }, throwOnError: true }));
      setServiceTime(today.as_of);
      return today;
    },
    refetchInterval: 60_000,
  });

type PartProps = {
  title: string;
  figure?: string | undefined;
  query: { isPending: boolean; isLoadingError: boolean; error: unknown };
  empty: ReactNode;
  isEmpty: boolean;
  more?: ReactNode;
  children: ReactNode;
};

export function Part({ title, figure, query, empty, isEmpty, more, children }: PartProps) {
  return (
    <section className="card today-part" aria-label={title}>
      <div className="card-head">
        <h2>
          {title} {figure && <span className="number faint">{figure}</span>}
        </h2>
        {more}
      </div>
      {query.isPending ? <Loading lines={3} /> : query.isLoadingError ? <Failed error={query.error} /> : isEmpty ? <p className="card-body faint">{empty}</p> : children}
    </section>
  );
}

type Act = {
  /** Call the API. */
  run: () => Promise<unknown>;
  /** Return the data after the call. They are shown at once, and undone if the call fails. */
  shown?: (today: TodayRead) => TodayRead;
  done?: string;
  undo?: () => Promise<unknown>;
};

export function useAct() {
  const cache = useQueryClient();
  const refresh = () => {
    for (const key of ["today", "tasks", "conversations", "campaigns", "alerts", "lines", "appointments"]) void cache.invalidateQueries({ queryKey: [key] });
  };
  const act = useMutation({
    mutationFn: (one: Act) => one.run(),
    onMutate: async ({ shown }) => {
      await cache.cancelQueries({ queryKey: ["today"] });
      const was = cache.getQueryData<TodayRead>(["today"]);
      if (was && shown) cache.setQueryData(["today"], shown(was));
      return was;
    },
    onSuccess: (_made, { done, undo }) => {
      if (done) say(done, undo ? { undo: () => void undo().catch(fail).finally(refresh) } : {});
    },
    onError: (error, _act, was) => {
      if (was) cache.setQueryData(["today"], was);
      fail(error);
    },
    onSettled: refresh,
  });
  return { act: act.mutate, isBusy: act.isPending };
}
