export type Progress = {
  /** `pull` fetches an image, `import` reads it, `store` makes it last. */
  phase: 'pull' | 'import' | 'store'
  /** Bytes done in this phase, of a total where it is known. */
  bytes: number
  totalBytes: number | undefined
  files: number
  /** Stored bytes that were not there before. */
  newBytes: number
}

/** How far a publish is, for whoever wants to know. */
export type Reporting = {
  readonly phase: Progress['phase']
  enter(phase: Progress['phase'], totalBytes?: number): void
  /** BYTES of this phase are done, of TOTALBYTES where that has become known by now. */
  at(bytes: number, totalBytes?: number): void
  /** The phase's total has become known. */
  expect(totalBytes: number | undefined): void
  report(): void
}

/** Reports are at least this far apart, but for a new phase. Milliseconds. */
const REPORT_EVERY = 100

/** Tells TAKE how far it is; COUNTED gives what was counted by now. */
export function reporting(
  take: ((progress: Progress) => void) | undefined,
  counted: () => Pick<Progress, 'files' | 'newBytes'>,
): Reporting {
  let phase: Progress['phase'] = 'import'
  let bytes = 0
  let totalBytes: number | undefined
  let reported = Number.NEGATIVE_INFINITY
  const report = () => {
    if (!take || performance.now() - reported < REPORT_EVERY) return
    reported = performance.now()
    const { files, newBytes } = counted()
    take({ phase, bytes, totalBytes, files, newBytes })
  }
  return {
    get phase() {
      return phase
    },
    enter(next, total) {
      phase = next
      bytes = 0
      totalBytes = total
      reported = Number.NEGATIVE_INFINITY
      report()
    },
    at(now, total = totalBytes) {
      bytes = now
      totalBytes = total
      report()
    },
    expect(total) {
      totalBytes = total
    },
    report,
  }
}
