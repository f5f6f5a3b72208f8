import "./styles/base.css";
import "./styles/prose.css";
import "./styles/print.css";

import { mount } from "svelte";

import App from "./App.svelte";
import { chat } from "./lib/chat.svelte";
import { health } from "./lib/health.svelte";
import { models } from "./lib/models.svelte";
import { settings } from "./lib/settings.svelte";

const target = document.getElementById("app");
if (!target) throw new Error("The page has no element with the id 'app' to live in.");

settings.start();
chat.start();
health.start();
void models.refresh();
mount(App, { target });
