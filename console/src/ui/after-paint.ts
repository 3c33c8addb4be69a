/**
 * Call `work` after earlier changes are painted. If the page is hidden, call it at once, because a
 * hidden page is not painted. Return a function that cancels the call.
 */
export function afterPaint(work: () => void): () => void {
  if (document.visibilityState === "hidden") {
    work();
    return () => undefined;
  }
  let timer = 0;
  const frame = requestAnimationFrame(() => {
    timer = window.setTimeout(work);
  });
  return () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
  };
}
