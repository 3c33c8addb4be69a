/**
 * Newcombe's interval of a difference of two rates (method 10), computed from Wilson's intervals.
 * The API returns this interval only for holdouts. `domain/insight/measures/intervals.py` is the
 * same formula in Python, and a test compares both.
 */
const NORMAL_95 = 1.959963984540054;

function wilson(part: number, whole: number): [number, number] {
  const z2 = NORMAL_95 ** 2;
  const middle = (part + z2 / 2) / (whole + z2);
  const half = (NORMAL_95 / (whole + z2)) * Math.sqrt((part * (whole - part)) / whole + z2 / 4);
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

type Rate = { part: number; whole: number };
export type Difference = { value: number; low: number; high: number; isSure: boolean };

/** Return the difference `one - other` with its interval; null while a group has no record. */
export function difference(one: Rate, other: Rate): Difference | null {
  if (!one.whole || !other.whole) return null;
  const [rate, otherRate] = [one.part / one.whole, other.part / other.whole];
  const [low, high] = wilson(one.part, one.whole);
  const [otherLow, otherHigh] = wilson(other.part, other.whole);
  const value = rate - otherRate;
  const found = { value, low: value - Math.hypot(rate - low, otherHigh - otherRate), high: value + Math.hypot(high - rate, otherRate - otherLow) };
  return { ...found, isSure: found.low > 0 || found.high < 0 };
}
