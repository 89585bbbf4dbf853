import { ZosError } from '#codec'

type Shape = { of: string; holds: (value: unknown) => boolean }

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isText = (value: unknown) => typeof value === 'string'

const TEXT: Shape = { of: 'a text', holds: isText }
const TEXTS: Shape = { of: 'a list of texts', holds: (v) => Array.isArray(v) && v.every(isText) }
const SET: Shape = { of: 'an object', holds: isObject }

/** Source: OCI image-spec, config.md; Healthcheck is Docker's. */
const SHAPES: Record<string, Shape> = {
  Entrypoint: TEXTS,
  Cmd: TEXTS,
  Env: TEXTS,
  WorkingDir: TEXT,
  User: TEXT,
  StopSignal: TEXT,
  ExposedPorts: SET,
  Volumes: SET,
  Labels: { of: 'an object of texts', holds: (v) => isObject(v) && Object.values(v).every(isText) },
  Healthcheck: {
    of: 'an object whose Test is a list of texts',
    holds: (v) => isObject(v) && TEXTS.holds(v.Test ?? []),
  },
}

const shapeless = (what: string, of: string): ZosError =>
  new ZosError(`Read image: ${what} of its config is not ${of}; build the image anew`, { code: 'bad-image' })

/** Refuses a config that says how to start the image in another shape than is read when it is started; null is not said. */
export function checkSettings(config: unknown): void {
  if (!isObject(config)) throw shapeless('the whole', 'an object')
  const settings = config.config ?? {}
  if (!isObject(settings)) throw shapeless('"config"', 'an object')
  for (const [name, { of, holds }] of Object.entries(SHAPES)) {
    const value = settings[name] ?? undefined
    if (value !== undefined && !holds(value)) throw shapeless(`"${name}"`, of)
  }
}
