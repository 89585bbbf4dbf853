import { ZosError } from '#codec'
import { attach, checkTerminal } from './attach.ts'
import { daemonCall, daemonOpen } from './daemon.ts'
import { type Member, runRequest } from './request.ts'

/** Does ATTEMPT; an image nobody published yet is published first. */
async function withImage<T>(image: string, member: Member, attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt()
  } catch (error) {
    if (!(error instanceof ZosError) || error.code !== 'unknown-image') throw error
    const { publishForRun } = await import('./publish.ts')
    await publishForRun(image, member)
    return attempt()
  }
}

export default async function run(args: string[]): Promise<number> {
  const { request, member, detachKeys } = runRequest('run', args)
  checkTerminal('run', request)
  return withImage(request.image, member, async () =>
    attach(await daemonOpen('/run'), request, {
      input: request.interactive,
      tty: request.tty,
      signals: true,
      detachKeys,
      started: (id) => request.detach && process.stdout.write(`${id}\n`),
    }),
  )
}

/** As `run`, but only made; `zos start` starts it. */
export async function create(args: string[]): Promise<number> {
  const { request, member } = runRequest('create', args)
  const { id } = await withImage(request.image, member, () => daemonCall<{ id: string }>('POST', '/workloads', request))
  process.stdout.write(`${id}\n`)
  return 0
}
