/** What the list gives to the thread beside it: the conversation after this one. */
import { createContext, useContext } from "react";

export type InboxWay = {
  /** Open the conversation after this one; the list if there is none. */
  next: (id: string) => void;
  /** Whether the list marks this conversation: a key must not change a thread that is replaced. */
  isHere: (id: string) => boolean;
};

/** The conversation that is shown before the address changes; undefined if the address names it. */
export const Ahead = createContext<string | undefined>(undefined);

export const Way = createContext<InboxWay>({ next: () => undefined, isHere: () => true });
export const useWay = (): InboxWay => useContext(Way);
