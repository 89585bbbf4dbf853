import type { Start } from './closure.ts'

const strings = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((v): v is string => typeof v === 'string') : []

/** The process an OCI image config describes; undefined when it has none. */
export function processOf(config: Buffer): Start | undefined {
  let settings: Record<string, unknown>
  try {
    settings = (JSON.parse(config.toString()) as { config?: Record<string, unknown> }).config ?? {}
  } catch {
    return undefined
  }
  const argv = [...strings(settings.Entrypoint), ...strings(settings.Cmd)]
  if (argv.length === 0) return undefined
  const cwd = typeof settings.WorkingDir === 'string' && settings.WorkingDir ? settings.WorkingDir : '/'
  return { argv, env: strings(settings.Env), cwd }
}
