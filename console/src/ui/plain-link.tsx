/**
 * A link to a screen, for lists and for parts that stay when the screen changes. The router's own
 * link renders again at each change of the address, which is slow for many links.
 */
import { useRouter } from "@tanstack/react-router";
import type { AnchorHTMLAttributes, MouseEvent } from "react";

type Props = AnchorHTMLAttributes<HTMLAnchorElement> & {
  href: string;
  /** Load the code of the screen when the user points at the link or moves the focus to it. */
  preload?: boolean;
};

export function PlainLink({ href, preload, ...rest }: Props) {
  const router = useRouter();
  const open = (event: MouseEvent) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    void router.navigate({ href });
  };
  const near = preload ? () => void router.preloadRoute({ to: href as "/" }).catch(() => undefined) : undefined;
  return <a {...rest} href={href} onClick={open} onMouseEnter={near} onFocus={near} onTouchStart={near} />;
}
