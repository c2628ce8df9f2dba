// Builds src/report into one classic script and one style sheet with fixed names, which are committed: users
// of the Python package need no Node. The build must be reproducible, since check.sh compares its bytes.
import { readFileSync } from "node:fs";
import { defineConfig } from "vite";

const packages = ["preact", "uplot"];

function notices() {
  const texts = packages.map((name) => {
    const version = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8")).version;
    const licence = readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim();
    return `${name} ${version}\n\n${licence}\n`;
  });
  return `The report's script and style sheet contain these works.\n\n${texts.join("\n---\n\n")}`;
}

// The notices travel inside the script as well, because a report is one file that is sent around alone.
function thirdPartyNotices() {
  return {
    name: "third-party-notices",
    generateBundle(_options, bundle) {
      const text = notices();
      this.emitFile({ type: "asset", fileName: "THIRD_PARTY.txt", source: text });
      for (const file of Object.values(bundle)) {
        if (file.type === "chunk") file.code = `/*!\n${text.replaceAll("*/", "* /")}*/\n${file.code}`;
      }
    },
  };
}

export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  plugins: [thirdPartyNotices()],
  build: {
    outDir: process.env.WAVETANK_UI_OUT ?? "../src/wavetank/web/static",
    emptyOutDir: false,
    target: "es2022",
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    rolldownOptions: {
      input: { report: "src/report/main.tsx" },
      output: { format: "iife", entryFileNames: "[name].js", assetFileNames: "report[extname]" },
    },
  },
});
