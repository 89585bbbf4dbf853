import { formatAddress, formatSubnet } from '../address.ts'
import { decodeControl, type Message } from '../wire/control.ts'
import { BODY_AT, CONTROL, DESTINATION_AT, HOP_LIMIT_AT, SOURCE_AT } from '../wire/frame.ts'

function describeMessage(m: Message): string {
  switch (m.type) {
    case 'hello':
      return `hello seqno ${m.seqno}, interval ${m.interval / 100} s`
    case 'ihu':
      return `ihu cost ${m.rxcost}`
    case 'update':
      return `update ${formatSubnet(m.prefix.bytes)} metric ${m.metric === 0xffff ? 'unreachable' : m.metric}, seqno ${m.seqno}`
    case 'route-request':
      return `route request ${m.prefix ? formatSubnet(m.prefix.bytes) : 'for all'}, generation ${m.generation}`
    case 'seqno-request':
      return `seqno request ${formatSubnet(m.prefix.bytes)} at least ${m.seqno}, ${m.hops} hops`
  }
}

/** One line about a frame: what anybody on the path can see of it. */
export function describeFrame(bytes: Buffer, at: number, length: number): string {
  const frame = bytes.subarray(at, at + length)
  if (frame[1] === CONTROL) return decodeControl(frame, 0, length).map(describeMessage).join('; ') || 'control'
  const source = formatAddress(frame.subarray(SOURCE_AT, SOURCE_AT + 16))
  const destination = formatAddress(frame.subarray(DESTINATION_AT, DESTINATION_AT + 16))
  return `data ${source} > ${destination} ${length - BODY_AT} bytes sealed, hop limit ${frame[HOP_LIMIT_AT]}`
}
