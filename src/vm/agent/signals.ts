/** Of signal(7), in the order of their numbers on x86-64 and arm64. */
export const SIGNALS =
  'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'.split(
    ' ',
  )

/** `TERM`, `SIGTERM`, `15`, `RTMIN+3` → its number, or 0. */
export function signalNumber(name: string): number {
  const upper = name.toUpperCase()
  const bare = upper.startsWith('SIG') ? upper.slice(3) : upper
  const number = Number(bare)
  if (bare !== '' && Number.isInteger(number)) return number > 0 && number <= 64 ? number : 0
  if (bare.startsWith('RTMIN')) {
    const offset = bare === 'RTMIN' ? 0 : Number(bare.slice(6))
    return bare.length > 5 && bare[5] !== '+' ? 0 : offset >= 0 && offset <= 30 ? 34 + offset : 0
  }
  if (bare.startsWith('RTMAX')) {
    const offset = bare === 'RTMAX' ? 0 : Number(bare.slice(6))
    return bare.length > 5 && bare[5] !== '-' ? 0 : offset >= 0 && offset <= 30 ? 64 - offset : 0
  }
  return SIGNALS.indexOf(bare) + 1
}
