// A canvas that plays the frames of a video in an endless loop.

const TICK_MS = 1000 / 8;

export class FrameLoop {
  /** Ends by itself where `isWanted` no longer says so. */
  constructor(isWanted) {
    this.isWanted = isWanted;
    this.canvas = document.createElement("canvas");
    Object.assign(this.canvas.style, { objectFit: "contain", minHeight: "180px" });
    this.timer = null;
    this.isStopped = false;
    this.clip = null;
  }

  /**
   * Plays from now on the frames of a strip, one below the other, as
   * livephoto_core/comfyui/preview.py sends it.
   */
  async play({ strip, num_frames, width, height, seconds }) {
    const image = new Image();
    image.src = strip;
    try {
      await image.decode();
    } catch {
      return; // a broken strip: the one before plays on
    }
    if (this.isStopped) return;
    this.clip = { image, num_frames, width, height, seconds };
    this.canvas.width = width;
    this.canvas.height = height;
    this.timer ??= setInterval(() => (this.isWanted() ? this.draw() : this.stop()), TICK_MS);
    this.draw();
  }

  stop() {
    clearInterval(this.timer);
    this.isStopped = true;
  }

  // By the clock, so that the loop goes on where it was when a newer strip comes in.
  draw() {
    const { image, num_frames, width, height, seconds } = this.clip;
    const phase = (performance.now() / 1000 / seconds) % 1;
    const top = Math.floor(phase * num_frames) * height;
    this.canvas.getContext("2d").drawImage(image, 0, top, width, height, 0, 0, width, height);
  }
}
