import { reasonOf, ZosError } from '#codec'
import type { WorkloadView } from '#wire'

type Fits = (w: WorkloadView) => boolean

const STATES = ['created', 'running', 'paused', 'exited']

const HEALTH = ['starting', 'healthy', 'unhealthy', 'none']

const usage = (message: string): ZosError => new ZosError(message, { code: 'usage' })

function pattern(text: string): RegExp {
  try {
    return new RegExp(text)
  } catch (cause) {
    throw usage(`zos ps: --filter name="${text}": ${reasonOf(cause)}`)
  }
}

const FILTERS: Record<string, (value: string) => Fits> = {
  id: (value) => (w) => w.id.startsWith(value),
  name: (value) => {
    // as with Docker, a leading slash belongs to the name
    const found = pattern(value.replace(/^(\^?)\//, '$1'))
    return (w) => found.test(w.name)
  },
  ancestor: (value) => (w) => w.image === value,
  status: (value) => {
    if (!STATES.includes(value)) throw usage(`zos ps: --filter status="${value}": write one of ${STATES.join(', ')}`)
    return (w) => w.state === value
  },
  exited: (value) => {
    if (!/^\d{1,3}$/.test(value)) throw usage(`zos ps: --filter exited="${value}" is no exit code`)
    return (w) => w.state === 'exited' && w.exitCode === Number(value)
  },
  health: (value) => {
    if (!HEALTH.includes(value)) throw usage(`zos ps: --filter health="${value}": write one of ${HEALTH.join(', ')}`)
    return (w) => (w.health ?? 'none') === value
  },
  label: (value) => {
    const [name = '', wanted] = value.split(/=(.*)/s)
    return (w) => Object.hasOwn(w.labels, name) && (wanted === undefined || w.labels[name] === wanted)
  },
}

/**
 * Docker's rule: of filters by the same thing one must fit, but all labels; filters by different things must all fit.
 * EVERYSTATE: they ask for states, so that workloads which do not run are looked at too.
 */
export function filterOf(words: readonly string[]): { fits: Fits; everyState: boolean } {
  const filters = words.map((word) => {
    const [kind = '', value] = word.split(/=(.*)/s)
    if (!Object.hasOwn(FILTERS, kind) || value === undefined)
      throw usage(`zos ps: --filter "${word}": write ${Object.keys(FILTERS).join('=, ')}=`)
    return { kind, fits: FILTERS[kind]!(value) }
  })
  const groups = Map.groupBy(filters, ({ kind }) => kind)
  const fits: Fits = (w) =>
    [...groups].every(([kind, same]) => same[kind === 'label' ? 'every' : 'some']((f) => f.fits(w)))
  return { fits, everyState: groups.has('status') || groups.has('exited') }
}
