import { Frame, writeFrame } from '#wire'
import type { Engine } from '../compute/engine.ts'
import { readOutput } from '../compute/output-log.ts'
import { frameSink } from '../compute/sinks.ts'
import { attach, logPath, waitExit } from '../compute/workload.ts'
import { framed } from './framed.ts'

/** `since` and `until`: Unix milliseconds. */
type LogsRequest = { follow: boolean; timestamps: boolean; tail?: number; since?: number; until?: number }

/** setTimeout takes no more milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1

/** `zos logs`: what was written, then, with follow, what comes until the workload ends. */
export const logsStream = (engine: Engine, ref: string) =>
  framed(async (stream, { request: asked }) => {
    const request = asked as LogsRequest
    const workload = engine.find(ref)
    const path = logPath(workload)
    const sink = frameSink(stream)
    const channels = { stdout: stamper(), stderr: stamper() }
    let sent = request.tail === undefined ? 0 : tailStart(path, request.tail)
    const catchUp = async () => {
      for (const record of readOutput(path)) {
        const skip = sent - record.offset
        if (skip >= record.bytes.length) continue
        const bytes = skip > 0 ? record.bytes.subarray(skip) : record.bytes
        sent = record.offset + record.bytes.length
        if (record.time < (request.since ?? 0) || record.time > (request.until ?? Number.POSITIVE_INFINITY)) continue
        if (stream.destroyed) return
        const channel = record.stream === 2 ? 'stderr' : 'stdout'
        await sink(channel, request.timestamps ? channels[channel](record.time, bytes) : bytes)
      }
    }
    await catchUp()
    const left = (request.until ?? Number.POSITIVE_INFINITY) - Date.now()
    if (request.follow && left > 0 && (workload.status.state === 'running' || workload.status.state === 'paused')) {
      let wake = () => {}
      const detach = attach(workload, () => wake())
      const gone = new Promise<void>((resolve) => stream.on('close', resolve))
      const late = Promise.withResolvers<true>()
      const timer = left < LONGEST_TIMER ? setTimeout(late.resolve, left, true) : undefined
      const ended = Promise.race([waitExit(workload).then(() => true as const), late.promise])
      for (let over = false; !over && !stream.destroyed; ) {
        const news = new Promise<void>((resolve) => {
          wake = resolve
        })
        await catchUp()
        over = (await Promise.race([news, gone, ended])) === true
      }
      clearTimeout(timer)
      detach()
      await catchUp()
    }
    writeFrame(stream, Frame.exit, { code: 0 })
  })

/** Puts the time before each line; a line that comes in pieces gets the time of its first. */
function stamper(): (time: number, bytes: Buffer) => Buffer {
  let atStart = true
  return (time, bytes) => {
    const stamp = Buffer.from(`${new Date(time).toISOString()} `)
    const parts: Buffer[] = []
    for (let at = 0; at < bytes.length; ) {
      const end = bytes.indexOf(10, at) + 1 || bytes.length
      if (atStart) parts.push(stamp)
      parts.push(bytes.subarray(at, end))
      atStart = bytes[end - 1] === 10
      at = end
    }
    return Buffer.concat(parts)
  }
}

/** Offset at which the last LINES lines begin. */
function tailStart(path: string, lines: number): number {
  const starts: number[] = []
  let end = 0
  let atStart = true
  for (const { offset, bytes } of readOutput(path)) {
    end = offset + bytes.length
    for (let i = 0; i < bytes.length; i++) {
      if (atStart) {
        starts.push(offset + i)
        if (starts.length > lines) starts.shift()
      }
      atStart = bytes[i] === 10
    }
  }
  return lines === 0 ? end : (starts[0] ?? 0)
}
