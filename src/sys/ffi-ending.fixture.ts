// Threads that end while V8 compiles their calls of C. usage: node ffi-ending.fixture.ts THREADS
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { closeFd, pollFds } from './ffi.ts'

const fds = new Int32Array(2)

function polled(): number {
  let ready = 0
  for (let i = 0; i < 10; i++) ready += pollFds(fds, 0, 0)
  return ready
}

function closed(): number {
  const ready = polled()
  closeFd(-1)
  return ready
}

if (isMainThread)
  for (let thread = 0; thread < Number(process.argv[2]); thread++) {
    // some end before, some while and some after
    const worker = new Worker(import.meta.filename, { workerData: 150 + thread * 5 })
    await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject))
  }
else for (let call = 0; call < workerData; call++) closed()
