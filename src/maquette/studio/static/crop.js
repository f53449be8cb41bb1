// What of a large picture is in its bucket: the rest is dimmed, and said in numbers.

export class CropPreview {
  constructor({ image, box, words, button, ask }) {
    Object.assign(this, { image, box, words, button, ask, on: false, name: "" });
    image.addEventListener("load", () => this.lay());
    new ResizeObserver(() => this.lay()).observe(image);
    button.addEventListener("click", () => this.toggle());
  }

  toggle() {
    this.on = !this.on;
    this.button.setAttribute("aria-pressed", this.on);
    this.of(this.name);
  }

  async of(name) {
    this.name = name;
    this.found = null;
    this.box.hidden = this.words.hidden = true;
    if (!this.on || !name) return;
    let found;
    try { found = await this.ask(name); } catch (error) { found = { said: error.message }; }
    if (this.name !== name || !this.on) return;
    this.found = found;
    this.words.textContent = found.said;
    this.words.hidden = false;
    this.lay();
  }

  // Where the picture itself lies in its element, and in it what the bucket takes. One that is turned when shown has no frame here.
  lay() {
    const { image, found } = this;
    this.box.hidden = true;
    if (!this.on || !found?.share || !image.naturalWidth) return;
    const isTurned = (image.naturalWidth > image.naturalHeight) !== (found.picture[0] > found.picture[1]) && found.picture[0] !== found.picture[1];
    if (isTurned) return;
    const scale = Math.min(image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight);
    const wide = image.naturalWidth * scale, high = image.naturalHeight * scale;
    const left = image.offsetLeft + (image.clientWidth - wide) / 2, top = image.offsetTop + (image.clientHeight - high) / 2;
    const [across, down] = [wide * found.share[0], high * found.share[1]];
    Object.assign(this.box.style, { left: `${left + (wide - across) / 2}px`, top: `${top + (high - down) / 2}px`, width: `${across}px`, height: `${down}px` });
    this.box.hidden = false;
  }
}
