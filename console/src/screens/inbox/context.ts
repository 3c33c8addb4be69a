/** Functions and data that the list of conversations passes to the thread beside it. */
import { createContext, useContext } from "react";

export type InboxWay = {
  /** Open the next conversation of the list, else the previous one, else the list. */
  next: (id: string) => void;
  /**
   * Return whether the list marks this conversation. If it does not, the thread is about to be
   * replaced, and a key must not change it.
   */
  isHere: (id: string) => boolean;
};

/** Id of a conversation that is shown before the address contains its id; undefined otherwise. */
export const Ahead = createContext<string | undefined>(undefined);

export const Way = createContext<InboxWay>({ next: () => undefined, isHere: () => true });
export const useWay = (): InboxWay => useContext(Way);
