/** Do this when what was changed before is on the screen; a hidden page paints nothing, so at once. */
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
