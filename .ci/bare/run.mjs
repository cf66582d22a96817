// Runs the WebAssembly program that is named. A panic there is a trap, which ends this with an error.
import { readFile } from "node:fs/promises";

const { instance } = await WebAssembly.instantiate(await readFile(process.argv[2]), {});
console.log(`${instance.exports.run_all()} scripts: passed`);
