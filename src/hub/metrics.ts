/** Counters of one hub as Prometheus reads them (text format 0.0.4). */
export type Metrics = {
  count(name: keyof typeof HELP, labels: Record<string, string>, by?: number): void
  text(gauges: Record<string, number>): string
}

const HELP = {
  zos_hub_requests_total: 'Requests answered, by route and status',
  zos_hub_received_bytes_total: 'Bytes of bodies taken',
  zos_hub_sent_bytes_total: 'Bytes of bodies sent',
  zos_hub_refused_total: 'Requests turned away, by reason',
} as const

export function openMetrics(): Metrics {
  const counters = new Map<string, number>()
  return {
    count(name, labels, by = 1) {
      const inside = Object.entries(labels).map(([k, v]) => `${k}="${v}"`)
      const series = inside.length > 0 ? `${name}{${inside.join(',')}}` : name
      counters.set(series, (counters.get(series) ?? 0) + by)
    },
    text(gauges) {
      const lines: string[] = []
      for (const [name, help] of Object.entries(HELP)) {
        lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} counter`)
        for (const [series, n] of counters) if (series.split('{')[0] === name) lines.push(`${series} ${n}`)
      }
      for (const [name, n] of Object.entries(gauges)) lines.push(`# TYPE ${name.split('{')[0]} gauge`, `${name} ${n}`)
      return `${lines.join('\n')}\n`
    },
  }
}
