"""The process of one pjsua2 phone. Everything happens in one thread: pjsua2 is polled, and
standard input is read by another thread that only queues its lines."""

import json
import queue
import sys
import threading

import pjsua2 as pj

settings = json.loads(sys.stdin.readline())
commands = queue.Queue()


def say(event, detail=""):
    print(json.dumps({"event": event, "detail": str(detail)}), flush=True)


def read_commands():
    for line in sys.stdin:
        commands.put(json.loads(line))
    commands.put(["quit", ""])


class Call(pj.Call):
    def onCallState(self, prm):
        info = self.getInfo()
        names = {
            pj.PJSIP_INV_STATE_EARLY: "ringing",
            pj.PJSIP_INV_STATE_CONFIRMED: "up",
            pj.PJSIP_INV_STATE_DISCONNECTED: "ended",
        }
        if info.state in names:
            say(names[info.state], f"{info.lastStatusCode} {info.lastReason}")
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            account.call = None

    def onCallMediaState(self, prm):
        try:
            info = self.getInfo()  # held: its list of media dies with it
            for index, media in enumerate(info.media):
                if media.type == pj.PJMEDIA_TYPE_AUDIO and media.status == pj.PJSUA_CALL_MEDIA_ACTIVE:
                    audio = self.getAudioMedia(index)
                    if not account.muted:
                        account.player.startTransmit(audio)
                    if account.recorder is None:  # a re-INVITE goes on in the same recording
                        account.recorder = pj.AudioMediaRecorder()
                        account.recorder.createRecorder(settings["recording"])
                    audio.startTransmit(account.recorder)
        except Exception as error:  # pjsua2 swallows what its callbacks raise
            say("error", f"media: {error!r}")


class Account(pj.Account):
    call = None
    recorder = None
    player = None
    muted = False

    def onRegState(self, prm):
        if prm.code // 100 == 2 and prm.expiration > 0:
            say("registered", prm.code)
        elif prm.code >= 300 or prm.status != 0:
            say("refused", f"{prm.code} {prm.reason} status={prm.status}")

    def onIncomingCall(self, prm):
        if self.call is not None:
            answer(Call(self, prm.callId), 486)
            return
        self.call = Call(self, prm.callId)
        say("incoming")
        answer(self.call, 200 if settings["auto_answer"] else 180)


def answer(call, code):
    op = pj.CallOpParam(True)
    op.statusCode = code
    call.answer(op)


def hangup():
    """A recorder writes its header's length when it is destroyed, so it ends with the call."""
    if account.call is not None:
        account.call.hangup(pj.CallOpParam(True))


ep = pj.Endpoint()
ep.libCreate()
config = pj.EpConfig()
config.uaConfig.threadCnt = 0
config.uaConfig.mainThreadOnly = True
config.uaConfig.userAgent = "pjsua2 rig"
config.medConfig.noVad = True
config.medConfig.ecTailLen = 0
config.medConfig.clockRate = 8000
config.medConfig.sndClockRate = 8000
config.medConfig.threadCnt = 1
config.logConfig.level = 5
config.logConfig.consoleLevel = 1
config.logConfig.msgLogging = 1
config.logConfig.filename = settings["trace"]
ep.libInit(config)

transport = pj.TransportConfig()
transport.port = settings["local"]
transport.boundAddress = "127.0.0.1"
transport.publicAddress = "127.0.0.1"
if settings["transport"] == "tls":
    transport.tlsConfig.CaListFile = settings["ca"]
    transport.tlsConfig.verifyServer = True
    ep.transportCreate(pj.PJSIP_TRANSPORT_TLS, transport)
else:
    ep.transportCreate(pj.PJSIP_TRANSPORT_TCP if settings["transport"] == "tcp" else pj.PJSIP_TRANSPORT_UDP, transport)
ep.libStart()
ep.audDevManager().setNullDev()
for codec in ep.codecEnum2():
    ep.codecSetPriority(codec.codecId, 255 if codec.codecId.startswith("PCMU/8000") else 0)

where = f"{settings['domain']}:{settings['port']};transport={settings['transport']}"
if not settings["register"]:
    where = f"127.0.0.1:{settings['local']};transport={settings['transport']}"
ac = pj.AccountConfig()
ac.idUri = f"sip:{settings['number']}@{where}"
if settings["register"]:
    ac.regConfig.registrarUri = f"sip:{where}"
    ac.regConfig.timeoutSec = settings["expires"]
    for name, value in settings["extra"].get("pjsua_reg", {}).items():
        setattr(ac.regConfig, name, value)
    ac.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", settings["number"], 0, settings["secret"]))
ac.mediaConfig.transportConfig.port = settings["local"] + 10
ac.mediaConfig.transportConfig.portRange = 40
ac.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
ac.mediaConfig.srtpUse = pj.PJMEDIA_SRTP_MANDATORY if settings["srtp"] else pj.PJMEDIA_SRTP_DISABLED
ac.mediaConfig.srtpSecureSignaling = 1 if settings["transport"] == "tls" and settings["srtp"] else 0
account = Account()
account.player = pj.AudioMediaPlayer()
account.player.createPlayer(settings["voice"])
account.create(ac)
say("started")

threading.Thread(target=read_commands, daemon=True).start()
while True:
    ep.libHandleEvents(20)
    if account.call is None and account.recorder is not None:
        account.recorder = None
    try:
        command, detail = commands.get_nowait()
    except queue.Empty:
        continue
    try:
        if command == "call":
            account.call = Call(account)
            op = pj.CallOpParam(True)
            op.opt.videoCount = 0
            account.call.makeCall(detail, op)
        elif command == "answer" and account.call is not None:
            answer(account.call, 200)
        elif command == "hangup":
            hangup()
        elif command == "mute":
            account.muted = True
        elif command == "quit":
            hangup()
            account.shutdown()
            break
    except pj.Error as error:
        say("error", f"{command}: {error.status} {error.reason}")
account.call = None
account.recorder = None
account.player = None
ep.libDestroy()
