import type { RunRequest } from '#wire'

/** The request of `zos run -d box true`, which asks for nothing else, with CHANGE. */
export const requestOf = (change: Partial<RunRequest> = {}): RunRequest => ({
  image: 'box',
  command: ['true'],
  env: [],
  tty: false,
  interactive: false,
  detach: true,
  remove: false,
  init: false,
  readOnly: false,
  volumes: [],
  tmpfs: [],
  ports: [],
  restart: { name: 'no' },
  ...change,
})
