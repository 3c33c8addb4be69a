/** Function that reads again the data that a change of a contact affects. */
import { useQueryClient } from "@tanstack/react-query";

export function useRefresh(id: string): (...more: string[]) => void {
  const cache = useQueryClient();
  return (...more) => {
    for (const key of ["contact", "timeline", ...more]) void cache.invalidateQueries({ queryKey: [key, id] });
    void cache.invalidateQueries({ queryKey: ["contacts"] });
  };
}
