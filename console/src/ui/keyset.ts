/**
 * A list that is read in pages, by cursor. At most ten pages are in memory. Another page is read
 * again by its cursor when it is needed.
 */
import { useInfiniteQuery, keepPreviousData, replaceEqualDeep, type InfiniteData, type QueryKey } from "@tanstack/react-query";
import { useCallback, useRef } from "react";

type Page<Row> = { data: Row[]; next_cursor: string | null };

export const PAGE = 100;
const KEPT = 10;
/** Minimum time between a failed read of a page and the next attempt. */
const AGAIN_MS = 10_000;

/**
 * If a page was read again, keep its unchanged rows, so that they are not rendered again. Compare a
 * page only with the older data of the same page, because all rows of another page differ.
 */
function shared(was: unknown, is: unknown): unknown {
  const [before, now] = [was, is] as [InfiniteData<unknown, number> | undefined, InfiniteData<unknown, number>];
  if (!before) return now;
  const pages = now.pages.map((page, at) => replaceEqualDeep(before.pages[before.pageParams.indexOf(now.pageParams[at]!)], page));
  const isSame = pages.length === before.pages.length && pages.every((page, at) => page === before.pages[at]);
  return isSame ? before : { ...now, pages };
}

export function useKeyset<Row>(queryKey: QueryKey, read: (cursor: string | undefined, signal: AbortSignal) => Promise<Page<Row>>) {
  const known = useRef<{ key: string; cursors: (string | undefined)[] }>({ key: "", cursors: [] });
  const name = JSON.stringify(queryKey);
  if (known.current.key !== name) known.current = { key: name, cursors: [undefined] };
  const { cursors } = known.current;
  const query = useInfiniteQuery({
    queryKey,
    initialPageParam: 0,
    queryFn: async ({ pageParam, signal }) => {
      const page = await read(cursors[pageParam], signal);
      if (page.next_cursor) cursors[pageParam + 1] = page.next_cursor;
      return page;
    },
    getNextPageParam: (page, _pages, at) => (page.next_cursor ? at + 1 : undefined),
    getPreviousPageParam: (_page, _pages, at) => (at > 0 ? at - 1 : undefined),
    maxPages: KEPT,
    structuralSharing: shared,
    placeholderData: keepPreviousData,
  });
  const pages = query.data?.pages ?? [];
  const begins = (query.data?.pageParams[0] as number | undefined) ?? 0;
  const before = begins * PAGE;
  const inWindow = pages.reduce((sum, page) => sum + page.data.length, 0);
  const beyond = Math.max(0, cursors.length - 1 - begins - pages.length) * PAGE;
  const rowAt = (index: number): Row | undefined => {
    const at = index - before;
    return at < 0 ? undefined : pages[Math.floor(at / PAGE)]?.data[at % PAGE];
  };
  const { hasNextPage, hasPreviousPage, isFetching, errorUpdatedAt, fetchNextPage, fetchPreviousPage } = query;
  const onSight = useCallback(
    (first: number, last: number) => {
      if (isFetching || Date.now() - errorUpdatedAt < AGAIN_MS) return;
      if (hasPreviousPage && first < before + 10) void fetchPreviousPage();
      else if (hasNextPage && last > before + inWindow - 30) void fetchNextPage();
    },
    [isFetching, errorUpdatedAt, hasPreviousPage, hasNextPage, before, inWindow, fetchNextPage, fetchPreviousPage],
  );
  return {
    query,
    rowAt,
    onSight,
    count: before + inWindow + beyond,
    isComplete: !hasNextPage && !query.isPending,
  };
}
