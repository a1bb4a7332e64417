# Release jobs with GNU make: exports and verifications as pattern rules. Written in what 3.81 knows, tested with 4.3.
#
#   include $(shell rnnexport makefile)
#   release: model.onnx model.onnx.verified
#
# Rules:
#   NAME.onnx                          from NAME.keras, NAME.h5 or NAME/saved_model.pb
#   NAME.tflite                        from the same
#   NAME_saved_model/saved_model.pb    from NAME.keras or NAME.h5; the folder is the artifact, this file stands for it
#   NAME_numpy.py, NAME_numpy.npz      from NAME.keras, NAME.h5 or NAME/saved_model.pb; both by one call. No rule makes
#                                      NAME.py, which may well be somebody's own.
#   NAME.c, NAME.h, NAME.c.npz         from NAME.keras; all by one call
#   ARTIFACT.verified                  from ARTIFACT; holds the report as JSON, and is there only after a pass
#
# Variables, for all files or for one (model.tflite: RNNEXPORT_TFLITE_FLAGS = --timesteps 20):
#   RNNEXPORT                          the command
#   RNNEXPORT_FLAGS                    options of every export
#   RNNEXPORT_ONNX_FLAGS, RNNEXPORT_TFLITE_FLAGS, RNNEXPORT_SAVED_MODEL_FLAGS,
#   RNNEXPORT_NUMPY_FLAGS, RNNEXPORT_C_FLAGS
#                                      more, for one target
#   RNNEXPORT_VERIFY_FLAGS             options of every verification
# No two kinds of rules share one of the latter six, so what is set for one file reaches none it depends on.
#
# What an artifact depends on besides its model is yours to say (model.onnx: cells.py).
# For files that do not lie beside their models, the recipes can be used in rules of your own:
#   build/%.onnx: models/%.keras ; $(RNNEXPORT_TO_ONNX)
#
# Nothing here is a default goal, names a phony target or changes how make treats files of others. There is no
# .DELETE_ON_ERROR, which would, and no need of it: rnnexport puts an artifact in place whole or not at all.
# A name with a space in it can't be told to make.

RNNEXPORT ?= rnnexport
RNNEXPORT_FLAGS ?=
RNNEXPORT_ONNX_FLAGS ?=
RNNEXPORT_TFLITE_FLAGS ?=
RNNEXPORT_SAVED_MODEL_FLAGS ?=
RNNEXPORT_NUMPY_FLAGS ?=
RNNEXPORT_C_FLAGS ?=
RNNEXPORT_VERIFY_FLAGS ?=

# A SavedModel is a folder, whose time says nothing; its main file stands for it in rules, not on the command line.
RNNEXPORT_SUBJECT = $(patsubst %/saved_model.pb,%,$<)

# Each recipe is one line of shell: it means the same under .ONESHELL, and its exit code is that of rnnexport.
RNNEXPORT_TO_ONNX = $(RNNEXPORT) onnx $(RNNEXPORT_FLAGS) $(RNNEXPORT_ONNX_FLAGS) -o '$@' '$(RNNEXPORT_SUBJECT)'
RNNEXPORT_TO_TFLITE = $(RNNEXPORT) tflite $(RNNEXPORT_FLAGS) $(RNNEXPORT_TFLITE_FLAGS) -o '$@' '$(RNNEXPORT_SUBJECT)'
RNNEXPORT_TO_SAVED_MODEL = $(RNNEXPORT) saved-model $(RNNEXPORT_FLAGS) $(RNNEXPORT_SAVED_MODEL_FLAGS) \
  -o '$(@D)' '$(RNNEXPORT_SUBJECT)'
# Of two files either may be what is asked for.
RNNEXPORT_TO_NUMPY = $(RNNEXPORT) numpy $(RNNEXPORT_FLAGS) $(RNNEXPORT_NUMPY_FLAGS) -o '$(basename $@).py' \
  '$(RNNEXPORT_SUBJECT)'

RNNEXPORT_TO_C = $(RNNEXPORT) c $(RNNEXPORT_FLAGS) $(RNNEXPORT_C_FLAGS) -o '$(patsubst %.c.npz,%.c,$(@:.h=.c))' \
  '$(RNNEXPORT_SUBJECT)'

# An old stamp goes first, so that none stands beside an artifact that fails. The report, which is written of a mismatch
# too, becomes the stamp on exit code 0 alone; else it stays as ARTIFACT.failed.
RNNEXPORT_REPORT = $(basename $@).failed
RNNEXPORT_TO_VERIFIED = rm -f '$@' '$(RNNEXPORT_REPORT)' && \
  $(RNNEXPORT) verify $(RNNEXPORT_VERIFY_FLAGS) --json '$(RNNEXPORT_REPORT)' '$(RNNEXPORT_SUBJECT)' && \
  mv -f '$(RNNEXPORT_REPORT)' '$@'

%.onnx: %.keras
	$(RNNEXPORT_TO_ONNX)

%.onnx: %.h5
	$(RNNEXPORT_TO_ONNX)

%.onnx: %/saved_model.pb
	$(RNNEXPORT_TO_ONNX)

%.tflite: %.keras
	$(RNNEXPORT_TO_TFLITE)

%.tflite: %.h5
	$(RNNEXPORT_TO_TFLITE)

%.tflite: %/saved_model.pb
	$(RNNEXPORT_TO_TFLITE)

%_saved_model/saved_model.pb: %.keras
	$(RNNEXPORT_TO_SAVED_MODEL)

%_saved_model/saved_model.pb: %.h5
	$(RNNEXPORT_TO_SAVED_MODEL)

%_numpy.py %_numpy.npz: %.keras
	$(RNNEXPORT_TO_NUMPY)

%_numpy.py %_numpy.npz: %.h5
	$(RNNEXPORT_TO_NUMPY)

%_numpy.py %_numpy.npz: %/saved_model.pb
	$(RNNEXPORT_TO_NUMPY)

# GNU make has a rule of its own from %.c to others, and none to it.
%.c %.h %.c.npz: %.keras
	$(RNNEXPORT_TO_C)

# Before the next rule, which would take the folder for a file.
%.verified: %/saved_model.pb
	$(RNNEXPORT_TO_VERIFIED)

%.verified: %
	$(RNNEXPORT_TO_VERIFIED)

# An artifact that no rule names, but a stamp needs, is kept. When it is gone and the stamp is not, make 4.4 makes it
# again; older ones, to which .NOTINTERMEDIATE is a target that nobody asks for, do where a rule names the artifact.
.PRECIOUS: %.onnx %.tflite %_saved_model/saved_model.pb %_numpy.py %_numpy.npz
.NOTINTERMEDIATE: %.onnx %.tflite %_saved_model/saved_model.pb %_numpy.py %_numpy.npz
