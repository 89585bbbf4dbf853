import { ZosError } from '#codec'
import { attach } from './attach.ts'
import { daemonCall, daemonOpen } from './daemon.ts'
import { runRequest } from './request.ts'

/** Does ATTEMPT; an image nobody published yet is published first. */
async function withImage<T>(image: string, attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt()
  } catch (error) {
    if (!(error instanceof ZosError) || error.code !== 'unknown-image') throw error
    const { publishForRun } = await import('./publish.ts')
    await publishForRun(image)
    return attempt()
  }
}

export default async function run(args: string[]): Promise<number> {
  const request = runRequest('run', args)
  return withImage(request.image, async () =>
    attach(await daemonOpen('/run'), request, {
      input: request.interactive,
      tty: request.tty,
      started: (id) => request.detach && process.stdout.write(`${id}\n`),
    }),
  )
}

/** As `run`, but only made; `zos start` starts it. */
export async function create(args: string[]): Promise<number> {
  const request = runRequest('create', args)
  const { id } = await withImage(request.image, () => daemonCall<{ id: string }>('POST', '/workloads', request))
  process.stdout.write(`${id}\n`)
  return 0
}
