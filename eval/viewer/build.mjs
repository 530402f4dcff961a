// Build eval/templates/viewer.bundle.js, and record beside it what it is made of and its hash.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const read = (path) => readFileSync(new URL(path, import.meta.url), "utf8");
const out = (name) => new URL(`../templates/${name}`, import.meta.url);
const { dependencies, devDependencies } = JSON.parse(read("package.json"));
const installed = Object.fromEntries(
  Object.keys(dependencies).map((name) => [name, JSON.parse(read(`node_modules/${name}/package.json`)).version]),
);
const licences = Object.keys(dependencies).map((name) => read(`node_modules/${name}/LICENSE`).trim());
const decoder = read("node_modules/three/examples/jsm/libs/meshopt_decoder.module.js").split("\n").slice(0, 2);

const banner = [
  ...Object.entries(installed).map(([name, version]) => `${name} ${version}, of which this is a part:`),
  ...licences, "", ...decoder.map((line) => line.replace(/^\/\/ ?/, "")),
].join("\n");
const { outputFiles } = await build({
  entryPoints: [new URL("main.js", import.meta.url).pathname],
  bundle: true, minify: true, write: false, charset: "utf8", target: "es2022",
  format: "iife", globalName: "headViewer", legalComments: "none",
  banner: { js: `/*!\n${banner}\n*/` },
});
// Inside a page, these would end the script.
const text = outputFiles[0].text.replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");
writeFileSync(out("viewer.bundle.js"), text);
const hash = (content) => createHash("sha256").update(content).digest("hex");
const facts = {
  packages: installed, esbuild: devDependencies.esbuild, bytes: Buffer.byteLength(text),
  sha256: hash(text), source: hash(read("main.js")), lock: hash(read("package-lock.json")),
};
writeFileSync(out("viewer.bundle.json"), `${JSON.stringify(facts, null, 1)}\n`);
console.log(facts);
