/** Metrics: 16 bits, 65535 is unreachable; sums of finite metrics stop below it. */
export const INFINITE = 0xffff
export const addMetric = (a: number, b: number): number =>
  a === INFINITE || b === INFINITE ? INFINITE : Math.min(a + b, INFINITE - 1)

/** Sequence numbers count modulo 2^16; two that are exactly half the circle apart are not ordered (RFC 8966 §3.2.1). */
export const isNewer = (a: number, b: number): boolean => {
  const ahead = (a - b) & 0xffff
  return ahead > 0 && ahead < 0x8000
}
export const nextSeqno = (a: number): number => (a + 1) & 0xffff
