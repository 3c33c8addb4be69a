/** What the list gives to the thread beside it: the conversation after this one. */
import { createContext, useContext } from "react";

export type InboxWay = {
  /** Open the conversation after this one; the list if there is none. */
  next: (id: string) => void;
};

export const Way = createContext<InboxWay>({ next: () => undefined });
export const useWay = (): InboxWay => useContext(Way);
