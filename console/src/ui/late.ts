/**
 * Function that returns the latest value after a pause, so that not every key press calls the API.
 */
import { useEffect, useState } from "react";

export function useLate<Value>(value: Value, afterMs: number): Value {
  const [late, setLate] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setLate(value), afterMs);
    return () => clearTimeout(timer);
  }, [value, afterMs]);
  return late;
}
