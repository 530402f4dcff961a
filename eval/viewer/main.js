// The 3D viewer of the report: a head, its expressions, colour or clay. `npm run build` makes one script of this file
// and of the parts of three.js that it uses; the page's own script (eval/templates/page.js) draws buttons and sliders.
import {
  AmbientLight, Box3, Color, DirectionalLight, DoubleSide, MeshBasicMaterial, MeshLambertMaterial, PerspectiveCamera,
  Scene, Sphere, Spherical, Vector3, WebGLRenderer,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { MeshoptDecoder } from "three/addons/libs/meshopt_decoder.module.js";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

const FOV = 20; // degrees; the judged views have 16
const LIGHT = new Spherical(1, Math.PI / 2 - 0.436, -0.436); // 25° to the left of and above the camera, as in clay views
const SECONDS = 6; // of the clip that `play` repeats
// When each movement of the clip begins and ends, its strength, and the morph targets that make it.
const CLIP = [
  [0.3, 0.8, 1, ["eyeBlinkLeft", "eyeBlinkRight"]],
  [1.0, 2.4, 0.9, ["mouthSmileLeft", "mouthSmileRight"]],
  [2.2, 3.4, 0.7, ["browInnerUp", "browOuterUpLeft", "browOuterUpRight"]],
  [2.4, 4.0, 0.7, ["jawOpen"]],
  [4.2, 4.7, 1, ["eyeBlinkLeft", "eyeBlinkRight"]],
  [4.6, 5.8, 0.8, ["mouthPucker"]],
];

// Return the bytes of one GLB: the shared bytes go behind those of its own buffer.
export function join(own, shared) {
  const view = new DataView(own.buffer, own.byteOffset), json = view.getUint32(12, true);
  const bin = 20 + json, size = view.getUint32(bin, true) + shared.length;
  const whole = new Uint8Array(own.length + shared.length), head = new DataView(whole.buffer);
  whole.set(own);
  whole.set(shared, own.length);
  head.setUint32(8, whole.length, true);
  head.setUint32(bin, size, true);
  return whole;
}

export class HeadViewer {
  // Draw on a canvas; `changed` is called after the clip has moved the weights. Throws where there is no WebGL.
  constructor(canvas, changed = () => {}) {
    this.canvas = canvas;
    this.changed = changed;
    this.renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true, preserveDrawingBuffer: true });
    this.camera = new PerspectiveCamera(FOV, 1, 0.05, 50);
    this.scene = new Scene();
    this.lamp = new DirectionalLight(0xffffff, 1.5);
    this.scene.add(new AmbientLight(0xffffff, 0.6), this.lamp, this.lamp.target);
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.enablePan = false;
    this.controls.addEventListener("change", () => this.draw());
    this.clayMaterial = new MeshLambertMaterial({ color: new Color().setRGB(0.75, 0.75, 0.75), side: DoubleSide });
    this.isClay = false;
    this.playing = 0;
    this.lost = false;
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  // Show a GLB. The camera stays where it is, except for the first head.
  async show(bytes) {
    const loader = new GLTFLoader().setMeshoptDecoder(MeshoptDecoder);
    const found = await loader.parseAsync(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length), "");
    this.clear();
    this.root = found.scene;
    this.root.traverse((node) => { if (node.isMesh) { this.mesh = node; node.frustumCulled = false; } });
    const texture = this.mesh.material.map;
    if (texture) texture.anisotropy = this.renderer.capabilities.getMaxAnisotropy();
    this.colour = new MeshBasicMaterial({ map: texture, side: DoubleSide });
    this.mesh.material.dispose();
    this.start = [...(this.mesh.morphTargetInfluences ?? [])];
    this.scene.add(this.root);
    this.root.updateMatrixWorld(true);
    if (!this.framed) this.frame();
    this.setClay(this.isClay);
    this.resize();
  }

  // Point the camera at the face.
  frame() {
    const box = new Box3().setFromBufferAttribute(this.mesh.geometry.attributes.position);
    const steps = this.mesh.isSkinnedMesh ? this.mesh.skeleton.boneInverses[0].getMaxScaleOnAxis() : this.mesh.scale.x;
    box.min.multiplyScalar(steps);
    box.max.multiplyScalar(steps);
    const ball = box.getBoundingSphere(new Sphere());
    this.distance = ball.radius / Math.sin((FOV / 2) * Math.PI / 180) * 0.86;
    this.controls.target.copy(ball.center);
    this.camera.position.copy(ball.center).add(new Vector3(0, 0.1 * this.distance, this.distance));
    this.controls.minDistance = 0.25 * this.distance;
    this.controls.maxDistance = 3 * this.distance;
    this.controls.update();
    this.framed = true;
    this.draw();
  }

  // Turn by degrees of azimuth and elevation, and come nearer by a factor.
  orbit(azimuth, elevation, nearer = 1) {
    const way = this.camera.position.clone().sub(this.controls.target);
    const place = new Spherical().setFromVector3(way);
    place.theta += azimuth * Math.PI / 180;
    place.phi = Math.min(Math.PI - 0.05, Math.max(0.05, place.phi - elevation * Math.PI / 180));
    place.radius = Math.min(this.controls.maxDistance, Math.max(this.controls.minDistance, place.radius / nearer));
    this.camera.position.setFromSpherical(place).add(this.controls.target);
    this.controls.update();
    this.draw();
  }

  get targets() { return Object.keys(this.mesh?.morphTargetDictionary ?? {}); }

  weight(name) { return this.mesh.morphTargetInfluences[this.mesh.morphTargetDictionary[name]]; }

  setWeight(name, value) {
    this.mesh.morphTargetInfluences[this.mesh.morphTargetDictionary[name]] = value;
    this.draw();
  }

  // Set all expressions to the avatar's own, or to none.
  reset(neutral = false) {
    this.start?.forEach((value, index) => { this.mesh.morphTargetInfluences[index] = neutral ? 0 : value; });
    this.draw();
  }

  setClay(clay) {
    this.isClay = clay;
    this.mesh.material = clay ? this.clayMaterial : this.colour;
    this.draw();
  }

  // Set the expressions to those of the clip after some seconds, over the avatar's own.
  pose(seconds) {
    this.reset();
    const now = seconds % SECONDS, index = this.mesh.morphTargetDictionary ?? {};
    for (const [begin, end, strength, names] of CLIP) {
      if (now <= begin || now >= end) continue;
      const value = strength * Math.sin(Math.PI * (now - begin) / (end - begin)) ** 2;
      for (const name of names) if (name in index) {
        this.mesh.morphTargetInfluences[index[name]] = Math.max(this.mesh.morphTargetInfluences[index[name]], value);
      }
    }
    this.draw();
    this.changed();
  }

  // Repeat the clip while turning by some degrees a second, until `stop`.
  play(turn = 0) {
    this.stop();
    const begin = performance.now();
    let last = begin;
    const step = (now) => {
      if (turn) this.orbit(turn * (now - last) / 1000, 0);
      last = now;
      this.pose((now - begin) / 1000);
      this.playing = requestAnimationFrame(step);
    };
    this.playing = requestAnimationFrame(step);
  }

  stop() {
    cancelAnimationFrame(this.playing);
    this.playing = 0;
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.renderer.setPixelRatio(Math.min(2, devicePixelRatio));
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.zoom = Math.min(1, width / height / 0.85);
    this.camera.updateProjectionMatrix();
    this.draw();
  }

  draw() {
    if (!this.mesh) return;
    this.lamp.position.setFromSpherical(LIGHT).applyQuaternion(this.camera.quaternion);
    this.renderer.render(this.scene, this.camera);
  }

  // Places of all vertices as they are drawn, metres: for tests.
  places() {
    const { position } = this.mesh.geometry.attributes, at = new Vector3(), found = [];
    this.mesh.updateMatrixWorld(true);
    if (this.mesh.isSkinnedMesh) this.mesh.skeleton.update();
    for (let i = 0; i < position.count; i++) {
      found.push(...this.mesh.getVertexPosition(i, at).applyMatrix4(this.mesh.matrixWorld).toArray());
    }
    return found;
  }

  clear() {
    if (!this.root) return;
    this.scene.remove(this.root);
    this.mesh.geometry.dispose();
    this.colour.map?.dispose();
    this.colour.dispose();
    this.root = this.mesh = null;
  }
}
