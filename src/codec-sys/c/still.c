// One picture through libaom. In C because libaom's configuration is a structure whose layout differs
// between its versions: compiled against the headers of the very library that is linked, it cannot disagree.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aom/aom_encoder.h"
#include "aom/aomcx.h"

// The same as `Plane`, `Request` and `Setting` in still.rs.
struct plane {
  const unsigned char *samples;
  int bytes_per_row;
};

struct setting {
  const char *name;
  // What the library of this version knows is taken: the first that it accepts.
  const char *values[3];
};

struct request {
  unsigned int width;
  unsigned int height;
  // 0: one plane; 1: colour at half size both ways; 2: three full planes.
  int layout;
  int bits;
  int quantizer;
  struct plane planes[3];
  const struct setting *settings;
  size_t settings_count;
};

static int failed(char *detail, size_t detail_size, const char *step, const char *why) {
  snprintf(detail, detail_size, "%s: %s", step, why ? why : "no reason given");
  return 1;
}

static aom_codec_err_t set_first_accepted(aom_codec_ctx_t *codec, const struct setting *setting) {
  aom_codec_err_t result = AOM_CODEC_OK;
  for (size_t i = 0; i < 3 && setting->values[i]; i++) {
    result = aom_codec_set_option(codec, setting->name, setting->values[i]);
    if (result == AOM_CODEC_OK) return result;
  }
  return result;
}

static int collect(aom_codec_ctx_t *codec, unsigned char **file, size_t *file_size) {
  aom_codec_iter_t position = NULL;
  const aom_codec_cx_pkt_t *packet;
  while ((packet = aom_codec_get_cx_data(codec, &position))) {
    if (packet->kind != AOM_CODEC_CX_FRAME_PKT || packet->data.frame.sz == 0) continue;
    unsigned char *longer = realloc(*file, *file_size + packet->data.frame.sz);
    if (!longer) return 0;
    memcpy(longer + *file_size, packet->data.frame.buf, packet->data.frame.sz);
    *file = longer;
    *file_size += packet->data.frame.sz;
  }
  return 1;
}

static void wrap(const struct request *request, aom_image_t *image) {
  const int is_deep = request->bits > 8;
  memset(image, 0, sizeof *image);
  image->fmt = request->layout == 2 ? AOM_IMG_FMT_I444 : AOM_IMG_FMT_I420;
  if (is_deep) image->fmt |= AOM_IMG_FMT_HIGHBITDEPTH;
  image->monochrome = request->layout == 0;
  image->cp = AOM_CICP_CP_BT_709;
  image->tc = AOM_CICP_TC_SRGB;
  image->mc = AOM_CICP_MC_BT_601;
  image->range = AOM_CR_FULL_RANGE;
  image->w = image->d_w = image->r_w = request->width;
  image->h = image->d_h = image->r_h = request->height;
  image->bit_depth = is_deep ? 16 : 8;
  image->x_chroma_shift = image->y_chroma_shift = request->layout == 2 ? 0 : 1;
  image->bps = (request->layout == 2 ? 24 : 12) << is_deep;
  for (int i = 0; i < 3; i++) {
    // libaom reads only: its interface merely lacks the `const`.
    image->planes[i] = (unsigned char *)request->planes[i].samples;
    image->stride[i] = request->planes[i].bytes_per_row;
  }
}

static int encode(aom_codec_ctx_t *codec, const struct request *request, unsigned char **file,
                  size_t *file_size, char *detail, size_t detail_size) {
  for (size_t i = 0; i < request->settings_count; i++) {
    if (set_first_accepted(codec, &request->settings[i]) != AOM_CODEC_OK) {
      return failed(detail, detail_size, request->settings[i].name, aom_codec_error_detail(codec));
    }
  }
  // These the library wants to hear besides seeing them in the picture.
  if (aom_codec_control(codec, AV1E_SET_COLOR_PRIMARIES, AOM_CICP_CP_BT_709) ||
      aom_codec_control(codec, AV1E_SET_TRANSFER_CHARACTERISTICS, AOM_CICP_TC_SRGB) ||
      aom_codec_control(codec, AV1E_SET_MATRIX_COEFFICIENTS, AOM_CICP_MC_BT_601) ||
      aom_codec_control(codec, AV1E_SET_COLOR_RANGE, AOM_CR_FULL_RANGE)) {
    return failed(detail, detail_size, "colours", aom_codec_error_detail(codec));
  }
  aom_image_t image;
  wrap(request, &image);
  if (aom_codec_encode(codec, &image, 0, 1, 0) != AOM_CODEC_OK) {
    return failed(detail, detail_size, "picture", aom_codec_error_detail(codec));
  }
  if (!collect(codec, file, file_size)) return failed(detail, detail_size, "result", "no memory");
  if (aom_codec_encode(codec, NULL, 0, 1, 0) != AOM_CODEC_OK) {
    return failed(detail, detail_size, "end", aom_codec_error_detail(codec));
  }
  if (!collect(codec, file, file_size)) return failed(detail, detail_size, "result", "no memory");
  return *file_size == 0 ? failed(detail, detail_size, "result", "it is empty") : 0;
}

// 0 when `file` is made; it is freed by `brim_still_free`. Otherwise `detail` says why not.
int brim_still_encode(const struct request *request, unsigned char **file, size_t *file_size,
                      char *detail, size_t detail_size) {
  *file = NULL;
  *file_size = 0;
  aom_codec_iface_t *interface = aom_codec_av1_cx();
  aom_codec_enc_cfg_t config;
  if (aom_codec_enc_config_default(interface, &config, AOM_USAGE_ALL_INTRA) != AOM_CODEC_OK) {
    return failed(detail, detail_size, "defaults", "the library gives none");
  }
  config.g_w = request->width;
  config.g_h = request->height;
  config.g_threads = 1;
  config.g_limit = 1;
  config.g_lag_in_frames = 0;
  config.g_profile = request->layout == 2 ? 1 : 0;
  config.g_bit_depth = request->bits > 8 ? AOM_BITS_10 : AOM_BITS_8;
  config.g_input_bit_depth = (unsigned int)request->bits;
  config.monochrome = request->layout == 0;
  config.full_still_picture_hdr = 0;
  config.rc_end_usage = AOM_Q;
  config.rc_min_quantizer = 0;
  config.rc_max_quantizer = 63;

  aom_codec_ctx_t codec;
  const aom_codec_flags_t flags = request->bits > 8 ? AOM_CODEC_USE_HIGHBITDEPTH : 0;
  if (aom_codec_enc_init(&codec, interface, &config, flags) != AOM_CODEC_OK) {
    return failed(detail, detail_size, "encoder", aom_codec_error_detail(&codec));
  }
  int result = aom_codec_control(&codec, AOME_SET_CQ_LEVEL, request->quantizer)
                   ? failed(detail, detail_size, "quantizer", aom_codec_error_detail(&codec))
                   : encode(&codec, request, file, file_size, detail, detail_size);
  aom_codec_destroy(&codec);
  if (result) {
    free(*file);
    *file = NULL;
    *file_size = 0;
  }
  return result;
}

void brim_still_free(unsigned char *file) { free(file); }
