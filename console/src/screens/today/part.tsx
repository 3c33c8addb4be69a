/** The parts of the first screen: one read for all of them, and changes that are shown at once. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { data } from "../../api/client";
import { getToday, type TodayRead } from "../../api/generated";
import { setServiceTime } from "../../clock";
import { currentZone } from "../../format";
import { Failed, Loading } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";

/** All parts in one call; a part without its scope is null. */
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
  /** The call. */
  run: () => Promise<unknown>;
  /** The screen after the call, shown at once; undone if the service refuses the call. */
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
