// An ONNX file in a runtime of JavaScript, called over pipes: node javascript.cjs PACKAGE FILE BESIDE...
//
// A message is the length of its head, 4 bytes, little-endian; the head, JSON; and the numbers of its tensors, one behind
// the other. The first one tells the versions. Each request has all inputs, and its answer all outputs, or what was thrown.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { createRequire } = require("node:module");
const { Worker } = require("node:worker_threads");

const TYPES = {
  float32: Float32Array, float64: Float64Array, float16: globalThis.Float16Array ?? Uint16Array, bool: Uint8Array,
  int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array,
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array,
};
// Whoever asks may be killed while this computes.
const WATCH = `
const parent = process.ppid;
setInterval(() => { if (process.ppid !== parent) process.kill(process.pid, "SIGKILL"); }, 300);`;

function read(size) {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; ) {
    const count = fs.readSync(0, bytes, at, size - at);
    if (count === 0) process.exit(0);
    at += count;
  }
  return bytes;
}

function write(head, parts = []) {
  const text = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  for (const bytes of [length, text, ...parts]) {
    for (let at = 0; at < bytes.length; ) at += fs.writeSync(1, bytes, at);
  }
}

function request(ort) {
  const head = JSON.parse(read(read(4).readUInt32LE()));
  const feeds = {};
  for (const { name, dtype, shape, size, strings } of head) {
    const bytes = strings ? null : read(size);
    const data = strings ?? new TYPES[dtype](bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + size));
    feeds[name] = new ort.Tensor(dtype, data, shape);
  }
  return feeds;
}

function answer(names, found) {
  const heads = [], parts = [];
  for (const name of names) {
    const { type, dims, data } = found[name];
    const strings = type === "string" ? data : undefined;
    const bytes = strings ? Buffer.alloc(0) : Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    heads.push({ name, dtype: type, shape: dims, size: bytes.length, strings });
    parts.push(bytes);
  }
  write({ outputs: heads }, parts);
}

async function main([name, file, ...beside]) {
  const found = createRequire(path.join(process.cwd(), "here.js"));
  let ort, session;
  try {
    ort = found(name);
  } catch (error) {
    return write({ missing: String(error) });
  }
  try {
    const externalData = beside.map((one) => ({ path: path.basename(one), data: fs.readFileSync(one) }));
    const options = { logSeverityLevel: 4, ...(name === "onnxruntime-web" ? { externalData } : {}) };
    session = await ort.InferenceSession.create(file, options);
  } catch (error) {
    return write({ refused: String(error) });
  }
  write({ versions: { [name]: ort.env.versions[name.replace("onnxruntime-", "")], node: process.versions.node } });
  for (;;) {
    const feeds = request(ort);
    try {
      answer(session.outputNames, await session.run(feeds));
    } catch (error) {
      write({ raised: String(error) });
    }
  }
}

new Worker(WATCH, { eval: true, stdin: false }).unref();
main(process.argv.slice(2)).then(() => process.exit(0));
