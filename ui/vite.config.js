// Builds three things with fixed names, which are committed, since users of the Python package need no Node:
// `--mode report` and `--mode dashboard`, each one classic script and style sheet that a report or a dashboard's file
// holds, and `--mode console`, the modules of the web app. The build must be reproducible, since check.sh compares its bytes.
import { readFileSync } from "node:fs";
import { defineConfig } from "vite";

const REPORT = ["preact", "uplot"];
const CONSOLE = [
  ...REPORT,
  "@codemirror/autocomplete", "@codemirror/commands", "@codemirror/language", "@codemirror/lint", "@codemirror/state",
  "@codemirror/view", "@lezer/common", "@lezer/highlight", "@lezer/lr", "@marijn/find-cluster-break",
  "@prometheus-io/codemirror-promql", "@prometheus-io/lezer-promql", "crelt", "lru-cache", "style-mod", "w3c-keyname",
];

function licence(name) {
  for (const file of ["LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE"]) {
    try {
      return readFileSync(`node_modules/${name}/${file}`, "utf8").trim();
    } catch {
      // another spelling
    }
  }
  const { license } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
  return `${license}, https://www.npmjs.com/package/${name}`;
}

function notices(intro, packages) {
  const texts = packages.map((name) => {
    const { version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
    return `${name} ${version}\n\n${licence(name)}\n`;
  });
  return `${intro}\n\n${texts.join("\n---\n\n")}`;
}

// The report's notices travel inside its script as well, because a report is one file that is sent around alone.
function reportNotices(fileName, intro) {
  return {
    name: "third-party-notices",
    generateBundle(_options, bundle) {
      const text = notices(intro, REPORT);
      this.emitFile({ type: "asset", fileName, source: text });
      for (const file of Object.values(bundle)) {
        if (file.type === "chunk") file.code = `/*!\n${text.replaceAll("*/", "* /")}*/\n${file.code}`;
      }
    },
  };
}

function consoleNotices() {
  return {
    name: "third-party-notices",
    generateBundle() {
      const source = notices("The console's scripts and style sheet contain these works.", CONSOLE);
      this.emitFile({ type: "asset", fileName: "THIRD_PARTY_CONSOLE.txt", source });
    },
  };
}

const common = {
  outDir: process.env.WAVETANK_UI_OUT ?? "../src/wavetank/web/static",
  emptyOutDir: false,
  target: "es2022",
  modulePreload: false,
  cssCodeSplit: false,
  assetsInlineLimit: 0,
};

const builds = {
  report: {
    plugins: [reportNotices("THIRD_PARTY.txt", "The report's script and style sheet contain these works.")],
    build: {
      ...common,
      rolldownOptions: {
        input: { report: "src/report/main.tsx" },
        output: { format: "iife", entryFileNames: "[name].js", assetFileNames: "report[extname]" },
      },
    },
  },
  dashboard: {
    plugins: [reportNotices("THIRD_PARTY_DASHBOARD.txt", "A dashboard's script and style sheet contain these works.")],
    build: {
      ...common,
      rolldownOptions: {
        input: { dashboard: "src/dashboards/embed.tsx" },
        output: { format: "iife", entryFileNames: "[name].js", assetFileNames: "dashboard[extname]" },
      },
    },
  },
  console: {
    plugins: [consoleNotices()],
    publicDir: "public",
    base: "./",
    build: {
      ...common,
      rolldownOptions: {
        input: { console: "src/console/main.tsx" },
        output: {
          format: "es",
          entryFileNames: "[name].js",
          chunkFileNames: ({ name }) => (name === "view" ? "dashboards.js" : "[name].js"),
          assetFileNames: "console[extname]",
        },
      },
    },
  },
};

export default defineConfig(({ mode }) => ({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  publicDir: false,
  ...(builds[mode] ?? builds.report),
}));
