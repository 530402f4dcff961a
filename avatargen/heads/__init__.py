"""Head models behind one interface; see :mod:`avatargen.heads.base`."""
