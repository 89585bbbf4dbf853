import type { Qmp } from './qmp.ts'

/** Loads device state from an inherited descriptor; RAM is the mapped file. */
export async function restore(qmp: Qmp, fd: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const stop = qmp.listen(({ event, data }) => {
    if (event !== 'MIGRATION') return
    if (data.status === 'completed') resolve()
    if (data.status === 'failed') reject(new Error('it refused the saved state'))
  })
  const late = setTimeout(() => reject(new Error('the saved state was not loaded within 20 s')), 20_000)
  try {
    const gone = qmp.closed.then(() => Promise.reject(new Error('it ended while loading the saved state')))
    // no gratuitous ARP: QEMU 7.2 crashes when its card speaks before its socket listens, which happens on a thread
    const quiet = qmp.ask('migrate-set-parameters', { 'announce-rounds': 0 })
    const asked = [setCapabilities(qmp), quiet, qmp.ask('migrate-incoming', { uri: `fd:${fd}` })]
    await Promise.race([Promise.all([...asked, promise]), gone])
  } finally {
    clearTimeout(late)
    stop()
  }
}

/** RAM that is a shared file stays out of the device state; `events` tell when the state is in. */
export async function setCapabilities(qmp: Qmp): Promise<void> {
  const capabilities = ['x-ignore-shared', 'events'].map((capability) => ({ capability, state: true }))
  await qmp.ask('migrate-set-capabilities', { capabilities })
}
