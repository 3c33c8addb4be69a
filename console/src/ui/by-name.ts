/** Return the lines in the order of their names. The API lists the newest line first. */
export function byName<T extends { name: string | null; number: string }>(lines: T[] | null | undefined): T[] {
  return (lines ?? []).toSorted((one, other) => (one.name || one.number).localeCompare(other.name || other.number));
}
