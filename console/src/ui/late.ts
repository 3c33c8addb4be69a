/** A value a moment after its last change, so that not each key calls the API. */
import { useEffect, useState } from "react";

export function useLate<Value>(value: Value, afterMs: number): Value {
  const [late, setLate] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setLate(value), afterMs);
    return () => clearTimeout(timer);
  }, [value, afterMs]);
  return late;
}
