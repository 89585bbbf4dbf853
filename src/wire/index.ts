export { call, open, revive } from './client.ts'
export { Frame, MAX_FRAME, readFrames, sendFrame, writeFrame } from './frames.ts'
export { type Places, places } from './home.ts'
export { copyRecords, pullFrames } from './pull.ts'
export type {
  HealthCheck,
  HealthStatus,
  ImageView,
  NetworkRequest,
  RestartPolicy,
  RunRequest,
  WorkloadState,
  WorkloadView,
} from './types.ts'
