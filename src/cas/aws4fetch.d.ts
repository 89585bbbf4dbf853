// What we use of aws4fetch, for its own types name the browser's.
declare module 'aws4fetch' {
  export class AwsClient {
    constructor(options: {
      accessKeyId: string
      secretAccessKey: string
      region: string
      service: 's3'
      retries: number
    })
    fetch(url: string, init: RequestInit): Promise<Response>
  }
}
