/**
 * What the frame is allowed on top of its sandbox: styles of the message itself and pictures inside it. Nothing is
 * fetched, so that looking at a message is not counted as its reader opening it.
 */
const POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; form-action 'none'";

const LOOK =
  'body{margin:0;padding:24px;font:15px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:#15201b;background:#fff;overflow-wrap:anywhere}body>:first-child{margin-top:0}' +
  'img{max-width:100%;height:auto}a{color:#1c6b50}';

/** The message as the document of a sandboxed frame. */
export function framed(html: string): string {
  return `<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${POLICY}"><style>${LOOK}</style>${html}`;
}
