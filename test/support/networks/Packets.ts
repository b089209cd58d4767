/**
 * What crosses a host's network devices, taken down by tcpdump and put together again: each direction of a TCP
 * connection is one text, whatever packets it was cut into, and each UDP datagram is one.
 */
import type { Namespace } from "./Namespace.ts"

/** What was taken down. */
export interface Packets {
  /** How many IP packets it were. */
  readonly count: number
  /** Bytes that TCP connections and UDP datagrams carried, without headers and repetitions. */
  readonly payloadBytes: number
  /** Whether one of them carried this text, in UTF-8 or UTF-16. */
  readonly contains: (text: string) => boolean
}

/** A capture that goes on. */
export interface Capture {
  /** Ends it, when everything that was sent before has been taken down; rejects if the kernel had to drop something. */
  readonly stop: () => Promise<Packets>
}

/** Header of a capture file, of a packet in it, and of a packet of Linux's "any" device. */
const [fileHeader, packetHeader, anyHeader] = [24, 16, 16]

/** Packets in a capture file of little endian; the last one may be incomplete. */
function* packetsOf(file: Buffer): Generator<Buffer> {
  if (file.length >= fileHeader && file.readUInt32LE(0) !== 0xa1b2c3d4) throw new Error("this is no capture file")
  let at = fileHeader
  while (at + packetHeader <= file.length) {
    const end = at + packetHeader + file.readUInt32LE(at + 8)
    if (end > file.length) return
    yield file.subarray(at + packetHeader, end)
    at = end
  }
}

interface Segment {
  /** Both addresses and both ports. */
  readonly flow: string
  /** For TCP. */
  readonly sequence: number | undefined
  readonly isFirst: boolean
  readonly payload: Buffer
}

/** The numbers of IP: protocols, and kinds of packets of the "any" device. */
const [tcp, udp, ipv4, ipv6] = [6, 17, 0x0800, 0x86dd]

/** Payload of an IP packet and where it belongs; undefined for other protocols. Each fragment is a datagram. */
const segmentOf = (packet: Buffer): Segment | undefined => {
  const kind = packet.readUInt16BE(14)
  const ip = packet.subarray(anyHeader)
  if (kind !== ipv4 && kind !== ipv6) return undefined
  const header = kind === ipv4 ? (ip[0]! & 15) * 4 : 40
  const protocol = kind === ipv4 ? ip[9] : ip[6]
  const hosts = kind === ipv4 ? ip.subarray(12, 20) : ip.subarray(8, 40)
  // A length of 0 means a packet that is larger than the field can tell.
  const length = kind === ipv4 ? ip.readUInt16BE(2) : ip.readUInt16BE(4)
  const rest = ip.subarray(header, length === 0 ? undefined : kind === ipv4 ? length : header + length)
  if (protocol !== tcp && protocol !== udp) return undefined
  if (kind === ipv4 && (ip.readUInt16BE(6) & 0x1fff) !== 0) return { ...fragment, flow: "", payload: rest }
  const flow = `${protocol}${hosts.toString("hex")}${rest.toString("hex", 0, 4)}`
  if (protocol === udp) return { flow, sequence: undefined, isFirst: false, payload: rest.subarray(8) }
  const isFirst = (rest[13]! & 2) !== 0
  return { flow, sequence: rest.readUInt32BE(4), isFirst, payload: rest.subarray((rest[12]! >> 4) * 4) }
}

/** A later fragment of a datagram has no header of UDP. */
const fragment = { sequence: undefined, isFirst: false } as const

/** What one direction of a TCP connection carried, in order; where something is missing a new text begins. */
const assemble = (segments: ReadonlyArray<{ readonly offset: number; readonly payload: Buffer }>): Array<Buffer> => {
  const texts: Array<Array<Buffer>> = []
  let end = -1
  for (const { offset, payload } of segments.toSorted((a, b) => a.offset - b.offset)) {
    if (offset > end) texts.push([payload])
    else if (offset + payload.length > end) texts.at(-1)!.push(payload.subarray(end - offset))
    end = Math.max(end, offset + payload.length)
  }
  return texts.map((text) => Buffer.concat(text))
}

/** Reads what tcpdump wrote of the device "any". */
export const read = (file: Buffer): Packets => {
  const texts: Array<Buffer> = []
  const flows = new Map<string, { start: number; segments: Array<{ offset: number; payload: Buffer }> }>()
  let count = 0
  const finish = (flow: string): void => {
    const known = flows.get(flow)
    if (known !== undefined) texts.push(...assemble(known.segments))
    flows.delete(flow)
  }
  for (const packet of packetsOf(file)) {
    const segment = segmentOf(packet)
    if (segment === undefined) continue
    count++
    const { flow, isFirst, payload, sequence } = segment
    if (sequence === undefined) {
      texts.push(payload)
      continue
    }
    // A connection that begins where the same ports had one before; a repeated beginning is none.
    if (isFirst && flows.get(flow)?.start !== sequence + 1) finish(flow)
    const known = flows.get(flow) ?? { start: isFirst ? sequence + 1 : sequence, segments: [] }
    flows.set(flow, known)
    if (payload.length > 0) known.segments.push({ offset: (sequence - known.start) >>> 0, payload })
  }
  for (const flow of flows.keys()) finish(flow)
  return {
    count,
    payloadBytes: texts.reduce((sum, text) => sum + text.length, 0),
    contains: (text) => {
      // As bytes: Node's own search for a text in UTF-16 may never end.
      const forms = [Buffer.from(text), Buffer.from(text, "utf16le")]
      return texts.some((carried) => forms.some((form) => carried.includes(form)))
    }
  }
}

/** Sent over the loopback device: when it has been taken down, so has everything that was sent before. */
const goodbye = "the capture ends here"

/** All devices, whole packets, each written at once; the buffer is in KiB. */
const options =
  "--interface any --linktype LINUX_SLL --snapshot-length 0 --buffer-size 65536 --immediate-mode --packet-buffered -n -w -"

/** Takes down everything that crosses the devices of a namespace, from now on. */
export const capture = async (namespace: Namespace): Promise<Capture> => {
  const dump = namespace.spawn("tcpdump", options.split(" "))
  let said = ""
  const isListening = new Promise<void>((resolve) => {
    dump.stderr.setEncoding("utf8").on("data", (more: string) => {
      said += more
      if (said.includes("listening on")) resolve()
    })
  })
  const failed = dump.ended.then((status) => Promise.reject(new Error(`tcpdump ended with ${status}: ${said}`)))
  failed.catch(() => {})
  const chunks: Array<Buffer> = []
  let last = Buffer.alloc(0)
  let onGoodbye = (): void => {}
  dump.stdout.on("data", (chunk: Buffer) => {
    chunks.push(chunk)
    last = Buffer.concat([last.subarray(-goodbye.length), chunk])
    if (last.includes(goodbye)) onGoodbye()
  })
  await Promise.race([isListening, failed])
  return {
    stop: async () => {
      const isDone = new Promise<void>((resolve) => {
        onGoodbye = resolve
      })
      await namespace.must("bash", ["-c", "printf %s \"$0\" >/dev/udp/127.0.0.1/9", goodbye])
      await Promise.race([isDone, failed])
      dump.kill("SIGTERM")
      await dump.ended
      if (!/^0 packets dropped by kernel/m.test(said)) throw new Error(`the capture has gaps: ${said}`)
      return read(Buffer.concat(chunks))
    }
  }
}
